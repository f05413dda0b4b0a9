#include "core/agent.h"

const struct agent_driver *agent_driver_find(struct str name)
{
    for (size_t i = 0; agent_drivers[i]; i++)
        if (str_is(name, agent_drivers[i]->name))
            return agent_drivers[i];
    return NULL;
}
