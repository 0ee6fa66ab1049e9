# SPDX-License-Identifier: GPL-2.0-only
# demo/rules.mk - "make demo": its programs for this machine, for the host and for the guest.

DEMO := $(B)/bin/demo
DEMO_HOST := $(B)/host/pages $(B)/host/picture
# Its guests are 64-bit.
HOST_PROGS += $(if $(FOREIGN),,$(DEMO_HOST))

$(DEMO): $(B)/demo/demo.o $(LIBHOST)
	mkdir -p $(@D)
	$(CC) -static -o $@ $^

$(DEMO_HOST): $(B)/host/%: $(B)/demo/%.o $(LIBTEST) $(LIBVMM)
	mkdir -p $(@D)
	$(CC) -static -o $@ $^ -lpthread

$(B)/host/picture: $(B)/demo/scene_blob.o

# The guest's drawing program; its address is SCENE_CODE in scene.h.
$(B)/demo/scene_guest.o: override CFLAGS := $(GUEST_CFLAGS) -O2 -m64
$(B)/demo/scene.elf: $(B)/demo/scene_guest.o vmm/guest/guest.ld
	$(CC) -m64 $(GUEST_LDFLAGS) -Wl,-Ttext=0x201000 -o $@ $<

$(B)/demo/scene.bin: $(B)/demo/scene.elf
	$(OBJCOPY) -O binary $< $@

$(B)/demo/scene_blob.o: demo/scene_blob.S $(B)/demo/scene.bin
	$(CC) -Wa,-I,$(B)/demo -c -o $@ $<

.PHONY: run-demo
run-demo: initramfs $(DEMO) $(B)/guest/ivshmem.cpio
	$(if $(FOREIGN),$(error the demonstration needs a 64-bit host))
	$(DEMO) $(abspath $(B)) $(REL)
