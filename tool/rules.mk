# SPDX-License-Identifier: GPL-2.0-only
# tool/rules.mk - the command kvm-pfnmap. It links libvmm, libdrm and libkmod, and loads libgbm at run
# time if it was built with that library's header.

TOOL := $(B)/bin/kvm-pfnmap
TOOL_OBJS := $(patsubst %.c,$(B)/%.o,$(wildcard tool/*.c)) $(B)/tool/kernels.o

# Flags for the libraries, evaluated at most once. Without pkg-config: where most distributions have
# them.
PKG_CONFIG ?= pkg-config
TOOL_LIBDIRS = $(eval TOOL_LIBDIRS := $(patsubst -I%,-isystem %,$(or \
	$(shell $(PKG_CONFIG) --cflags libdrm libkmod 2>/dev/null),-I/usr/include/libdrm) \
	$(shell $(PKG_CONFIG) --cflags gbm 2>/dev/null)))$(TOOL_LIBDIRS)
TOOL_LIBS = $(eval TOOL_LIBS := $(or \
	$(shell $(PKG_CONFIG) --libs libdrm libkmod 2>/dev/null),-ldrm -lkmod) \
	-ldl -lpthread)$(TOOL_LIBS)
TOOL_FLAGS = $(TOOL_LIBDIRS) -DTOOL_VERSION_=$(VERSION)

# Report missing headers in one line instead of the compiler's many.
lacks = $(shell $(CC) $(CFLAGS) $(TOOL_LIBDIRS) -fsyntax-only -include $(1) -x c /dev/null \
	2>/dev/null || echo $(2))
lacked = $(call lacks,xf86drm.h,libdrm-dev) $(call lacks,libkmod.h,libkmod-dev)
$(B)/tool/libraries: tool/rules.mk
	$(if $(strip $(lacked)),$(error kvm-pfnmap needs headers that are missing; on Debian: \
		apt install $(strip $(lacked))))
	mkdir -p $(@D)
	touch $@

# The supported kernels, from kernels.conf.
$(B)/tool/kernels.c: kernels.conf tool/rules.mk
	mkdir -p $(@D)
	awk 'BEGIN { print "#include \"tool/parse.h\""; \
			print "const struct kernel_line supported_kernels[] = {" } \
		$$1 !~ /^\#/ && NF == 7 { sub(/-.*/, "", $$1); gsub(/\\/, "&&"); \
			printf "\t{ \"%s\", \"%s\", \"%s\" },\n", $$1, $$3, $$4 } \
		END { print "\t{ 0 }\n};" }' kernels.conf >$@

$(B)/tool/kernels.o: $(B)/tool/kernels.c
	$(CC) $(CFLAGS) -Wno-missing-field-initializers -c -o $@ $<

$(TOOL_OBJS): override CFLAGS += $(TOOL_FLAGS)
$(TOOL_OBJS): VERSION tool/rules.mk | $(B)/tool/libraries

$(TOOL): $(TOOL_OBJS) $(LIBVMM)
	mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(TOOL_LIBS)

# The tests in a 64-bit host run it there.
TOOLS += $(if $(FOREIGN),,$(TOOL))

.PHONY: tool
tool: $(TOOL)
