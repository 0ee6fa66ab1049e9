# SPDX-License-Identifier: GPL-2.0-only
# tests/unit/rules.mk - "make check-asan": what needs neither a host nor KVM, tested on this machine
# with the address and undefined behaviour sanitizers in it.

ASAN_FLAGS := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/asan/%,$(wildcard tests/unit/*.c))

$(B)/asan/%.o: %.c tests/unit/rules.mk
	@mkdir -p $(@D)
	$(CC) $(UCFLAGS) $(ASAN_FLAGS) -MMD -c -o $@ $<

$(UNIT_TESTS): $(B)/asan/%: $(B)/asan/tests/unit/%.o $(B)/asan/tests/tap.o
	$(CC) $(ASAN_FLAGS) -o $@ $^ -lpthread

$(B)/asan/table: $(B)/asan/rig/table.o
$(B)/asan/tap: $(patsubst %,$(B)/asan/rig/%.o,tap table)
$(B)/asan/stream: $(B)/asan/rig/stream.o
$(B)/asan/host: $(patsubst %,$(B)/asan/rig/%.o,host qemu bochs stream) $(B)/rig/bochs_rom.o
$(B)/asan/matrix: $(B)/asan/rig/matrix.o
$(B)/asan/json: $(B)/asan/cmd/kvm-pfnmap/json.o
$(B)/asan/parse: $(patsubst %,$(B)/asan/cmd/%.o,kvm-pfnmap/parse kernels)
ASAN_LIBVMM := $(patsubst %,$(B)/asan/lib/vmm/%.o,call error paging vcpu vm) $(B)/lib/vmm/blob.o
$(B)/asan/vmm: $(ASAN_LIBVMM)

# The tool, with its own flags and libraries, and its list of kernels, which is made.
TOOL_ASAN := $(B)/bin/kvm-pfnmap-asan
TOOL_ASAN_OBJS := $(CMD_OBJS:$(B)/cmd/%=$(B)/asan/cmd/%)
$(TOOL_ASAN_OBJS): UCFLAGS += $(CMD_FLAGS)
$(TOOL_ASAN_OBJS): VERSION cmd/rules.mk | $(B)/cmd/packages
$(TOOL_ASAN): $(TOOL_ASAN_OBJS) $(ASAN_LIBVMM)
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -o $@ $^ -ldrm -lkmod -ldl -lpthread

$(B)/asan/cmd/kernels.o: $(B)/cmd/kernels.c
	@mkdir -p $(@D)
	$(CC) $(UCFLAGS) $(ASAN_FLAGS) -Wno-missing-field-initializers -c -o $@ $<

# Beside the other one, for it finds what is built by where it is itself.
RIG_ASAN := $(B)/bin/rig-asan
$(RIG_ASAN): $(patsubst %,$(B)/asan/rig/%.o,main test table tap matrix host qemu bochs stream) \
		$(B)/rig/bochs_rom.o
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -o $@ $^

.PHONY: check-asan
check-asan: $(UNIT_TESTS) $(RIG_ASAN) $(TOOL_ASAN) initramfs
	$(Q)UNIT_TESTS="$(UNIT_TESTS)" RIG_ASAN=$(RIG_ASAN) REL=$(REL) \
		TOOL=$(TOOL_ASAN) IS_JSON=$(B)/asan/json \
		scripts/tap.sh $(B)/logs $(call part,asan) tests/unit/run.sh tests/unit/tool.sh

.SECONDARY: $(UNIT_TESTS:$(B)/asan/%=$(B)/asan/tests/unit/%.o) $(B)/asan/tests/tap.o
-include $(wildcard $(B)/asan/*/*.d $(B)/asan/*/*/*.d)
