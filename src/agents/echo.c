/* echo - the agent that says the same again: for the first start, for tests and for watching the
 * hub work. */
#include "core/agent.h"

static const struct field settings[] = { { 0 } };

static enum agent_outcome answer(const struct agent_input *input, struct exchange *exchange,
                                 struct agent_output *output,
                                 struct err *err)
{
    (void)exchange;
    (void)err;
    if (str_trim(input->text).len == 0)
        return AGENT_SILENT;
    output->text = input->text;
    output->reason = STR("The echo agent repeats what it is told.");
    return AGENT_ANSWERED;
}

const struct agent_driver agent_echo = {
    .name = "echo",
    .title = "Echo",
    .settings = settings,
    .answer = answer,
};
