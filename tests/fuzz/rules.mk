# SPDX-License-Identifier: GPL-2.0-only
# tests/fuzz/rules.mk - fuzzers of what reads text on this machine, with libFuzzer and the address
# and undefined behavior sanitizers. "make check-unit" gives each its corpus and a fixed number of
# inputs; "make fuzz" goes on for longer: ONLY=NAME,... SECONDS=N or RUNS=N.
#
# Where clang or its libraries are missing, gcc builds them, and they read only their corpora.

FUZZ_NAMES := $(filter-out main,$(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c)))
FUZZERS := $(addprefix $(B)/fuzz/,$(FUZZ_NAMES))
FUZZ_FLAGS := $(filter-out -O1,$(ASAN_FLAGS)) -Wno-unused-function -Wno-missing-field-initializers

# The flags for libFuzzer, or nothing; asked at most once.
LIBFUZZER = $(eval LIBFUZZER := $(shell echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
	clang -fsanitize=fuzzer,address -x c -o /dev/null - 2>/dev/null && echo -fsanitize=fuzzer))$(LIBFUZZER)

fuzz_compiler = $(if $(LIBFUZZER),clang $(LIBFUZZER),$(CC) tests/fuzz/main.c)

# Changes only with the compiler: once clang is installed, it replaces what gcc has built.
$(B)/fuzz/compiler: FORCE
	mkdir -p $(@D) && echo $(fuzz_compiler) | cmp -s - $@ || echo $(fuzz_compiler) >$@

# What each tests, beside the sources that it includes.
FUZZ_PARSE := tool/parse.c $(B)/tool/kernels.c
fuzz_numbers := $(FUZZ_PARSE)
fuzz_versions := $(FUZZ_PARSE)
fuzz_words := $(FUZZ_PARSE)
fuzz_arguments := $(FUZZ_PARSE) tool/text.c
fuzz_text := tool/text.c
fuzz_json := tool/json.c tests/lib/tap.c
fuzz_stream := rig/stream.c
fuzz_protocol := rig/stream.c
fuzz_log := rig/stream.c
fuzz_tap := rig/tap.c rig/report.c rig/util.c
fuzz_table := rig/table.c rig/util.c
fuzz_options := rig/table.c
fuzz_matrix := rig/matrix.c rig/report.c

$(FUZZERS): $(B)/fuzz/%: tests/fuzz/%.c tests/fuzz/fuzz.h tests/fuzz/main.c tests/fuzz/rules.mk \
		$(wildcard rig/*.[ch] tool/*.[ch] tests/lib/tap.[ch]) tests/unit/json.c $(B)/tool/kernels.c \
		$(B)/fuzz/compiler
	printf '  %-8s %s\n' FUZZER $@
	$(fuzz_compiler) $(CFLAGS) $(FUZZ_FLAGS) \
		-DTOOL_VERSION_=$(VERSION) -o $@ $< $(fuzz_$*)

.PHONY: fuzz
fuzz: $(FUZZERS) $(RIG)
	BUILD=$(B) LONG=1 ONLY=$(ONLY) RUNS=$(RUNS) LIMIT=$(SECONDS) $(TAP) fuzz tests/fuzz/run.sh

check-unit: $(FUZZERS)
