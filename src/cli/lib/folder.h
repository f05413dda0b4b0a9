/* folder.h - the data folder: made with 0700, and held by one process at a time, because two hubs on one SQLite file
 * would each believe to be its only writer. */
#pragma once

#include "base/err.h"

struct config;

/* Make the folder and take its lock; from here on the process makes files that only its user may read (umask 077).
 * Returns a descriptor to close when done, or -1. */
int folder_open(const struct config *config, struct err *err);
