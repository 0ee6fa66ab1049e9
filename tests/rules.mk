# SPDX-License-Identifier: GPL-2.0-only
# tests/rules.mk - the programs that the tables of tests name, for the emulated host or for this machine.

# "host NAME" or "machine NAME" for each program of a table that is a file of this directory.
TESTS_IN_TABLES := $(shell awk '/^[^\#]/ { where = "host"; prog = $$1; \
	for (i = 5; i <= NF; i++) { \
		if ($$i == "machine") where = "machine"; \
		if ($$i == "--") { prog = $$(i + 1); break } } \
	if (NF) print where "/" prog }' $(wildcard tests/*.table) tests/table | sort -u)
tests_for = $(patsubst tests/%.c,%,$(wildcard $(patsubst $(1)/%,tests/%.c,$(filter $(1)/%,$(TESTS_IN_TABLES)))))

TEST_HOST := $(addprefix $(H)/host/,$(call tests_for,host))
TEST_MACHINE := $(addprefix $(B)/bin/,$(call tests_for,machine))
HOST_PROGS += $(TEST_HOST)
TOOLS += $(TEST_MACHINE)

$(B)/tests/%.o: tests/%.c tests/rules.mk
	@mkdir -p $(@D)
	$(CC) $(UCFLAGS) -MMD -c -o $@ $<

# Of what the tests share a program gets what it uses.
LIBTEST := $(H)/lib/libtest.a
$(LIBTEST): $(patsubst %,$(H)/tests/%.o,drm kit loop qemu tap tool)
	@mkdir -p $(@D)
	rm -f $@
	$(AR) rcs $@ $^

$(H)/tests/drm.o: UCFLAGS += $(UAPI_FLAGS)

$(TEST_HOST): $(H)/host/%: $(H)/tests/%.o $(LIBTEST) $(LIBVMM)
	@mkdir -p $(@D)
	$(CC) $(M32) -static -o $@ $^ -lpthread

$(TEST_MACHINE): $(B)/bin/%: $(B)/tests/%.o $(B)/tests/tap.o $(LIBHOST)
	@mkdir -p $(@D)
	$(CC) -static -o $@ $^ -lpthread

# What the guests of qemu.c boot into.
$(B)/guest/ivshmem.cpio: $(B)/tests/ivshmem_guest.o
	@mkdir -p $(@D)/ivshmem
	$(CC) -static -s -o $(@D)/ivshmem/init $^
	cd $(@D)/ivshmem && echo init | busybox cpio -o -H newc -R 0:0 2>/dev/null >../$(@F)

TOOLS += $(B)/guest/ivshmem.cpio

# Objects are worth keeping.
.SECONDARY: $(patsubst %,$(H)/tests/%.o,$(notdir $(TEST_HOST))) \
	$(patsubst %,$(B)/tests/%.o,$(notdir $(TEST_MACHINE)))

-include $(wildcard $(B)/tests/*.d)
