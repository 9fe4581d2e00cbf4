# SPDX-License-Identifier: GPL-2.0
#
# IPVS in Rust. `make help` lists what there is to do.

# Which of the guest's kernels to build and test for: stock (Debian's own) or
# debug. Only plain `make` builds for another one: for a build directory given
# as KDIR=, with CC=, KERNELRELEASE= or LLVM=1 as it was made with, or for the
# running kernel's if it holds the kernel crate's metadata. Debian's header
# packages do not, so `make setup` makes one.
setup := qemu-test/setup
running := $(shell uname -r)
ifeq ($(KDIR)$(KERNEL),)
KDIR := $(patsubst %/rust/libkernel.rmeta,%,$(wildcard /lib/modules/$(running)/build/rust/libkernel.rmeta))
endif
KERNEL ?= stock

SCHEDULERS := rr wrr lc wlc fo ovf lblc lblcr dh sh mh sed nq twos

DESTDIR ?=
KO ?= ip_vs.ko
RELEASE = $(or $(KERNELRELEASE),$(running))
MODULES = $(DESTDIR)/lib/modules/$(RELEASE)
MODPROBE_CONF = $(DESTDIR)/etc/modprobe.d/ip_vs-rust.conf
DEPMOD = depmod $(if $(DESTDIR),-b $(DESTDIR)) $(RELEASE)

.PHONY: all module guest-module setup demo test test-mutants test-long bench check shell install uninstall clean help

all: module

ifeq ($(KDIR),)
module: guest-module
else
module:
	@mkdir -p build
	@flock build/.lock $(MAKE) -C $(KDIR) M=$(CURDIR) MO=$(CURDIR)/build/host \
		$(if $(CC:cc=),CC=$(CC)) $(if $(KERNELRELEASE),KERNELRELEASE=$(KERNELRELEASE)) $(if $(LLVM),LLVM=$(LLVM))
	@cp build/host/ip_vs.ko ip_vs.ko
endif
module: ## build ip_vs.ko [KDIR=build directory]

guest-module:
	@mkdir -p build
	@flock build/.lock $(setup)/build-module $(KERNEL)

setup: ## make toolchain, kernel build directory and guest (once)
	@$(setup)/all

demo: setup guest-module ## balance real HTTP traffic in a guest and show it
	@qemu-test/demo

test: setup guest-module ## run the tests [TEST=name] [MODULE=rust|c] [KERNEL=stock|debug]
	@qemu-test/test

test-mutants: setup ## show that the tests find errors seeded into the module [MUTANT=name]
	@qemu-test/mutants

test-long: setup guest-module ## soak and stress runs
	@LONG=1 qemu-test/test

bench: setup guest-module ## instructions per packet, memory: C and Rust
	@qemu-test/bench

check: setup guest-module ## host tests, rustfmt, clippy, rules on the sources and the module
	@qemu-test/check

shell: setup guest-module ## a prompt in the booted guest
	@qemu-test/run

install: ## install the module for KERNELRELEASE (default: the running kernel)
	@built=$$(modinfo -F vermagic $(KO)) || exit; built=$${built%% *}; \
	if [ "$$built" != "$(RELEASE)" ]; then \
		echo "error: $(KO) is built for $$built, not for $(RELEASE);" \
			"build it for that (KDIR=), or: make install KERNELRELEASE=$$built" >&2; \
		exit 1; \
	fi
	install -D -m 644 $(KO) $(MODULES)/updates/ip_vs.ko
	install -d $(dir $(MODPROBE_CONF))
	@# Scripts load C's scheduler modules by name; ours has them built in.
	printf 'alias ip_vs_%s ip_vs\n' $(SCHEDULERS) >$(MODPROBE_CONF)
	$(DEPMOD)

uninstall: ## remove what install put there
	rm -f $(MODULES)/updates/ip_vs.ko $(MODPROBE_CONF)
	$(DEPMOD)

clean: ## remove what was built here (caches outside stay)
	rm -rf build ip_vs.ko out

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'
