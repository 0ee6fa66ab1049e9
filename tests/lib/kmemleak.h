/* SPDX-License-Identifier: GPL-2.0-only */
/* Asks a debug kernel which memory it lost (CONFIG_DEBUG_KMEMLEAK). */
#ifndef TESTS_LIB_KMEMLEAK_H
#define TESTS_LIB_KMEMLEAK_H

/*
 * Wait until every object is old enough to count as lost, look for lost ones, and print them as
 * diagnostics. Mounts debugfs. Returns their number; an error ends the test.
 */
int kmemleak_count(void);

#endif
