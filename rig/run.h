/* SPDX-License-Identifier: GPL-2.0-only */
/* "rig run" and "rig shell": a host for one program, or for one person. */
#ifndef RIG_RUN_H
#define RIG_RUN_H

#include "rig/launch.h"

/*
 * Run a program: words are [VAR=value ...] PROGRAM [ARGUMENT...], need is a comma-separated list of
 * modules to load first, or NULL. Returns the exit status: the program's, 128 + N if signal N
 * killed it, 124 after a timeout, 127 if there is no such program, 125 if the rig failed.
 */
int run_program(struct settings *s, char *need, char **words);

/* Run a shell on the terminal. Returns the exit status, 0 or 125. */
int run_shell(struct settings *s, char *need);

#endif
