/* The command line of `adit-edge`.
 *
 * Every command but `run` is administration: it asks the running edge through its admin socket, or
 * works on the files itself when none runs, through the same requests (edge/control/control.h).
 */
#pragma once

struct edge_config;

/* Runs one command and returns the exit status: 0 done, 1 it failed, 2 it was not understood. `run` is
 * called by `adit-edge run` with a complete configuration that stays the caller's; logging is set up
 * by then. Before any thread starts. */
int edge_cli_main(int argc, char **argv, int (*run)(const struct edge_config *cfg));
