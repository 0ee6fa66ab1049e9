# SPDX-License-Identifier: GPL-2.0-only
# tool/rules.mk - kvm-pfnmap, the command for this machine; linked to libvmm, libdrm and libkmod.

TOOL := $(B)/bin/kvm-pfnmap
TOOL_OBJS := $(patsubst %.c,$(B)/%.o,$(wildcard tool/*.c)) $(B)/tool/kernels.o
TOOL_FLAGS := -isystem /usr/include/libdrm -DTOOL_VERSION_=$(VERSION)

# The supported kernels as they are in kernels.conf, the one list.
$(B)/tool/kernels.c: kernels.conf tool/rules.mk
	mkdir -p $(@D)
	awk 'BEGIN { print "#include \"tool/parse.h\""; \
			print "const struct kernel_line supported_kernels[] = {" } \
		$$1 ~ /^[0-9.]+$$/ { gsub(/\\/, "&&"); \
			printf "\t{ \"%s\", \"%s\", \"%s\" },\n", $$1, $$2, $$3 } \
		END { print "\t{ 0 }\n};" }' kernels.conf >$@

$(B)/tool/kernels.o: $(B)/tool/kernels.c
	$(CC) $(CFLAGS) -Wno-missing-field-initializers -c -o $@ $<

$(TOOL_OBJS): override CFLAGS += $(TOOL_FLAGS)
$(TOOL_OBJS): VERSION tool/rules.mk

$(TOOL): $(TOOL_OBJS) $(LIBVMM)
	mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -ldrm -lkmod -ldl -lpthread

.PHONY: tool
tool: $(TOOL)
