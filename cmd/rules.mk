# SPDX-License-Identifier: GPL-2.0-only
# cmd/rules.mk - kvm-pfnmap, the command for this machine; linked to libvmm, libdrm and libkmod.

CMD := $(B)/bin/kvm-pfnmap
# libvmm is built for the host that the kernel makes, which may be a 32-bit one.
TOOLS += $(if $(FOREIGN),,$(CMD))
CMD_OBJS := $(patsubst cmd/kvm-pfnmap/%.c,$(B)/cmd/kvm-pfnmap/%.o,$(wildcard cmd/kvm-pfnmap/*.c))
CMD_OBJS += $(B)/cmd/kernels.o
CMD_FLAGS := -isystem /usr/include/libdrm -DTOOL_VERSION_=$(shell cat VERSION)

# libgbm is loaded when there is a use for it, only its header is needed.
CMD_PKGS := libdrm-dev libgbm-dev libkmod-dev
$(B)/cmd/packages: cmd/rules.mk
	@mkdir -p $(@D)
	$(Q)scripts/deps.sh $(CMD_PKGS)
	$(Q)touch $@

# The supported kernels as they are in kernels.conf, the one list.
$(B)/cmd/kernels.c: kernels.conf cmd/rules.mk
	@mkdir -p $(@D)
	$(Q)awk 'BEGIN { print "#include \"cmd/kvm-pfnmap/parse.h\""; \
			print "const struct kernel_line supported_kernels[] = {" } \
		$$1 ~ /^[0-9.]+$$/ { gsub(/\\/, "&&"); \
			printf "\t{ \"%s\", \"%s\", \"%s\" },\n", $$1, $$2, $$3 } \
		END { print "\t{ 0 }\n};" }' kernels.conf >$@

$(B)/cmd/kernels.o: $(B)/cmd/kernels.c
	$(CC) $(UCFLAGS) -Wno-missing-field-initializers -c -o $@ $<

$(B)/cmd/kvm-pfnmap/%.o: cmd/kvm-pfnmap/%.c cmd/rules.mk VERSION | $(B)/cmd/packages
	@mkdir -p $(@D)
	@printf '  %-8s %s\n' CC $@
	$(Q)$(CC) $(UCFLAGS) $(CMD_FLAGS) -MMD -c -o $@ $<

$(CMD): $(CMD_OBJS) $(LIBVMM)
	@mkdir -p $(@D)
	$(Q)$(CC) -o $@ $^ -ldrm -lkmod -ldl -lpthread

.PHONY: tool
tool: $(CMD)

-include $(wildcard $(B)/cmd/*/*.d)
