# SPDX-License-Identifier: GPL-2.0
#
# IPVS in Rust. `make help` lists what there is to do.

# Which kernel to build and test for: stock (Debian's own) or debug. A build
# directory of your own is given as KDIR=, with CC=, KERNELRELEASE= or LLVM=1
# as it was made with.
KERNEL ?= stock

setup := qemu-test/setup

# The running kernel's build directory will do when it holds the kernel
# crate's metadata; Debian's header packages do not, so `make setup` makes one.
running := /lib/modules/$(shell uname -r)/build
ifeq ($(KDIR)$(wildcard $(running)/rust/libkernel.rmeta),)
prepared := 1
else
KDIR ?= $(running)
KERNEL := host
endif

SCHEDULERS := rr wrr lc wlc fo ovf lblc lblcr dh sh mh sed nq twos

DESTDIR ?=
KO ?= ip_vs.ko
MODULES = $(DESTDIR)/lib/modules/$(or $(KERNELRELEASE),$(shell uname -r))
MODPROBE_CONF = $(DESTDIR)/etc/modprobe.d/ip_vs-rust.conf
DEPMOD = depmod $(if $(DESTDIR),-b $(DESTDIR)) $(or $(KERNELRELEASE),$(shell uname -r))

.PHONY: all module setup demo test test-mutants test-long bench check shell install uninstall clean help

all: module

module: ## build ip_vs.ko
	@mkdir -p build
ifdef prepared
	@flock build/.lock $(setup)/build-module $(KERNEL)
else
	@flock build/.lock $(MAKE) -C $(KDIR) M=$(CURDIR) MO=$(CURDIR)/build/$(KERNEL) \
		$(if $(CC:cc=),CC=$(CC)) $(if $(KERNELRELEASE),KERNELRELEASE=$(KERNELRELEASE)) $(if $(LLVM),LLVM=$(LLVM))
	@cp build/$(KERNEL)/ip_vs.ko ip_vs.ko
endif

setup: ## make toolchain, kernel build directory and guest (once)
	@$(setup)/all

demo: setup module ## balance real HTTP traffic in a guest and show it
	@qemu-test/demo

test: setup module ## run the tests [TEST=name] [MODULE=rust|c] [KERNEL=stock|debug]
	@qemu-test/test

test-mutants: setup ## show that the tests find errors seeded into the module [MUTANT=name]
	@qemu-test/mutants

test-long: setup module ## soak and stress runs
	@LONG=1 qemu-test/test

bench: setup module ## instructions per packet, memory: C and Rust
	@qemu-test/bench

check: setup module ## host tests, rustfmt, clippy, rules on the sources and the module
	@qemu-test/check

shell: setup module ## a prompt in the booted guest
	@qemu-test/run

install: ## install the module for KERNELRELEASE (default: the running kernel)
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
