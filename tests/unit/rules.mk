# SPDX-License-Identifier: GPL-2.0-only
# tests/unit/rules.mk - "make check-unit": tests that need neither a host nor KVM, built with the
# address and undefined behavior sanitizers.

ASAN_FLAGS := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/*.c))

$(B)/asan/%.o: %.c Makefile tests/unit/rules.mk
	mkdir -p $(@D)
	$(CC) $(CFLAGS) $(ASAN_FLAGS) -MMD -MP -c -o $@ $<

$(UNIT_TESTS): $(B)/unit/%: $(B)/asan/tests/unit/%.o $(B)/asan/tests/lib/tap.o
	mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -o $@ $^ -lpthread

asan = $(addprefix $(B)/asan/,$(addsuffix .o,$(1)))
$(B)/unit/table: $(call asan,rig/table rig/util)
$(B)/unit/tap: $(call asan,rig/tap rig/util)
$(B)/unit/stream: $(call asan,rig/stream)
$(B)/unit/host: $(call asan,rig/host rig/qemu rig/bochs rig/stream) $(B)/rig/bochs_rom.o
$(B)/unit/matrix: $(call asan,rig/matrix rig/report)
$(B)/unit/json: $(call asan,tool/json)
$(B)/unit/parse: $(call asan,tool/parse tool/kernels)
ASAN_VMM := $(addprefix $(B)/asan/,$(filter-out vmm/blob.o,$(VMM_OBJS))) $(B)/vmm/blob.o
$(B)/unit/vmm: $(ASAN_VMM)

# The tool, with its own flags and libraries, and its generated list of kernels.
TOOL_ASAN := $(B)/bin/kvm-pfnmap-asan
TOOL_ASAN_OBJS := $(TOOL_OBJS:$(B)/tool/%=$(B)/asan/tool/%)
$(TOOL_ASAN_OBJS): override CFLAGS += $(TOOL_FLAGS)
$(TOOL_ASAN_OBJS): VERSION tool/rules.mk | $(B)/tool/libraries
$(TOOL_ASAN): $(TOOL_ASAN_OBJS) $(ASAN_VMM)
	mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -o $@ $^ $(TOOL_LIBS)

# Two variants that take any file for a render node; one is built without GBM's header.
NODE_STUB := $(B)/asan/tests/unit/stubs/libdrm.o
$(NODE_STUB): override CFLAGS += $(TOOL_FLAGS)
$(B)/asan/tool/buffer_no_gbm.o: tool/buffer.c tests/unit/rules.mk
	mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TOOL_FLAGS) $(ASAN_FLAGS) -DNO_GBM -MMD -MP -c -o $@ $<

$(TOOL_ASAN)-node: $(NODE_STUB) $(TOOL_ASAN_OBJS) $(ASAN_VMM)
$(TOOL_ASAN)-no-gbm: $(NODE_STUB) $(B)/asan/tool/buffer_no_gbm.o \
		$(filter-out %/buffer.o,$(TOOL_ASAN_OBJS)) $(ASAN_VMM)
$(TOOL_ASAN)-node $(TOOL_ASAN)-no-gbm:
	mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -o $@ $^ $(TOOL_LIBS)

check-unit: $(TOOL_ASAN)-node $(TOOL_ASAN)-no-gbm

$(B)/asan/tool/kernels.o: $(B)/tool/kernels.c
	mkdir -p $(@D)
	$(CC) $(CFLAGS) $(ASAN_FLAGS) -Wno-missing-field-initializers -c -o $@ $<

# In the directory of the real one, since it finds the build by its own place.
RIG_ASAN := $(B)/bin/rig-asan
$(RIG_ASAN): $(call asan,$(addprefix rig/,$(RIG_PARTS) host qemu bochs stream)) \
		$(B)/rig/bochs_rom.o
	mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -o $@ $^

.PHONY: check-unit
check-unit: $(UNIT_TESTS) $(RIG) $(RIG_ASAN) $(TOOL_ASAN)
	UNIT_TESTS="$(UNIT_TESTS)" RIG=$(RIG) RIG_ASAN=$(RIG_ASAN) TOOL=$(TOOL_ASAN) \
		IS_JSON=$(B)/unit/json BUILD=$(B) $(TAP) unit tests/unit/run.sh tests/unit/tool.sh \
		tests/unit/usage.sh tests/fuzz/run.sh

.SECONDARY:

include tests/fuzz/rules.mk
