/* stored.h - a channel of each kind in a real database: added, shown, loaded, changed. */
#pragma once

#include "case_file.h"

/* Add a channel with the case's settings to a new SQLite database, see that it is loaded as it was
 * given, that its secrets are sealed and never shown, and that changes take effect at once. */
void check_stored(const struct channel_driver *driver, const struct channel_case *one);
