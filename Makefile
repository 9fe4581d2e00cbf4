# SPDX-License-Identifier: GPL-2.0
#
# IPVS in Rust. `make help` lists the targets.

setup := qemu-test/setup
# Plain `make` and `make install` are for this build directory, with CC=,
# KERNELRELEASE= and LLVM=1 as it was made with.
KDIR ?= /lib/modules/$(shell uname -r)/build
# All others are for one of the guest's kernels: stock (Debian's own) or debug.
KERNEL ?= stock

SCHEDULERS := rr wrr lc wlc fo ovf lblc lblcr dh sh mh sed nq twos
ENGINES := sip
# Modules that are built and installed with ip_vs.ko, see src/companion/.
COMPANIONS := xt_ipvs ip_vs_ftp

DESTDIR ?=
built = build/host
MODPROBE_CONF = $(DESTDIR)/etc/modprobe.d/ip_vs-rust.conf
kbuild = $(MAKE) -C $(KDIR) M=$(CURDIR) MO=$(CURDIR)/$(built) \
	$(if $(CC:cc=),CC=$(CC)) $(if $(KERNELRELEASE),KERNELRELEASE=$(KERNELRELEASE)) $(if $(LLVM),LLVM=$(LLVM))
release = $(or $(KERNELRELEASE),$(shell cat $(KDIR)/include/config/kernel.release 2>/dev/null),$(shell uname -r))
depmod = depmod $(if $(DESTDIR),-b $(DESTDIR)) $(release)

.PHONY: all module can-build guest-module setup demo test test-mutants test-long bench check shell \
	install modprobe-conf uninstall clean help

all: module

can-build:
	@[ -e $(KDIR)/rust/libkernel.rmeta ] || { \
		echo "error: $(KDIR) cannot build Rust modules (no rust/libkernel.rmeta): name a kernel's build" \
			"directory with KDIR=, or run: make guest-module (for Debian's $$(. $(setup)/pins; echo $$KERNEL_RELEASE))" >&2; \
		exit 1; }

module: can-build ## build ip_vs.ko for the running kernel [KDIR=build directory]
	@mkdir -p build
	@flock build/.lock $(kbuild) modules
	@cp $(built)/*.ko .

guest-module: setup ## build ip_vs.ko for the guest's kernel, Debian's [KERNEL=stock|debug]
	@mkdir -p build
	@flock build/.lock $(setup)/build-module $(KERNEL)

setup: ## make toolchain, kernel build directory and guest (once)
	@$(setup)/all

demo: guest-module ## balance real HTTP traffic in a guest and show it
	@qemu-test/demo

test: guest-module ## run the tests [TEST=name] [MODULE=rust|c] [KERNEL=stock|debug]
	@qemu-test/test

test-mutants: setup ## show that the tests find errors seeded into the module [MUTANT=name]
	@qemu-test/mutants

test-long: guest-module ## soak and stress runs
	@LONG=1 qemu-test/test

bench: guest-module ## instructions per packet, memory: C and Rust
	@qemu-test/bench

check: guest-module ## host tests, rustfmt, clippy, rules on the sources and the module
	@qemu-test/check

shell: guest-module ## a prompt in the booted guest
	@qemu-test/run

ifdef KO
install: release := $(firstword $(shell modinfo -F vermagic $(KO) 2>/dev/null))
install:
	@[ -n "$(release)" ] || { echo "error: modinfo finds no kernel release in $(KO)" >&2; exit 1; }
	@$(MAKE) -s modprobe-conf
	install -D -m 644 $(KO) $(DESTDIR)/lib/modules/$(release)/updates/ip_vs.ko
	for k in $(wildcard $(COMPANIONS:%=$(dir $(KO))%.ko)); do \
		install -m 644 -t $(DESTDIR)/lib/modules/$(release)/updates $$k || exit; \
	done
	$(depmod)
else
install: can-build
	@[ -e $(built)/modules.order ] || { echo "error: nothing is built for $(KDIR); run: make" >&2; exit 1; }
	@$(MAKE) -s modprobe-conf
	$(kbuild) modules_install INSTALL_MOD_DIR=updates $(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR))
	$(depmod)
endif
install: ## install the modules built by `make`, or KO=file and its companions, under updates/ [DESTDIR=]

# Aliases for C's modules of schedulers and engines, which scripts load by name.
modprobe-conf:
	install -d $(dir $(MODPROBE_CONF))
	printf 'alias ip_vs_%s ip_vs\n' $(SCHEDULERS) >$(MODPROBE_CONF)
	printf 'alias ip_vs_pe_%s ip_vs\n' $(ENGINES) >>$(MODPROBE_CONF)

uninstall: ## remove the installed files [KERNELRELEASE=release]
	rm -f $(foreach m,ip_vs $(COMPANIONS),$(DESTDIR)/lib/modules/$(release)/updates/$m.ko*) $(MODPROBE_CONF)
	$(depmod)

clean: ## remove the built files (caches outside stay)
	rm -rf build out $(addsuffix .ko,ip_vs $(COMPANIONS))

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | column -t -s '	'
