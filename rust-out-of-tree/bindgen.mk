# SPDX-License-Identifier: GPL-2.0

# Generates bindings_generated.rs from bindings_helper.h, with the kernel's flags
# (rust/Makefile and rust/bindgen_parameters) and our own list of items.

ifdef CONFIG_CC_IS_CLANG
oot_bindgen_c_flags = $(c_flags) -w
else
# The gcc flags that libclang does not support, taken from rust/Makefile.
oot_bindgen_skip := $(shell sed -n '/^bindgen_skip_c_flags := /,/[^\\]$$/p' $(srctree)/rust/Makefile | \
	sed 's/^bindgen_skip_c_flags :=//; s/\\$$//')
# The libclang target for the architecture, taken from rust/Makefile.
oot_bindgen_target := --target=$(or $(shell sed -n 's/^BINDGEN_TARGET_$(SRCARCH)[ \t]*:= *//p' $(srctree)/rust/Makefile | \
	head -n 1),$(error ip_vs: rust/Makefile has no BINDGEN_TARGET_$(SRCARCH)))
oot_bindgen_c_flags = $(filter-out $(oot_bindgen_skip), $(c_flags)) -w $(oot_bindgen_target)
endif

# Newtype enums need an unstable compiler feature that is not enabled for modules.
oot_bindgen_flags = $(shell grep -Ehv '^\#|^$$|^--newtype-enum|^--with-attribute-custom-enum' \
	$(srctree)/rust/bindgen_parameters $(src)/rust-out-of-tree/bindgen_parameters)

quiet_cmd_oot_bindgen = BINDGEN [M] $@
      cmd_oot_bindgen = \
	$(BINDGEN) $< $(oot_bindgen_flags) --rust-target 1.85 \
		--use-core --with-derive-default --ctypes-prefix ffi --no-layout-tests \
		--no-debug '.*' --enable-function-attribute-detection \
		-o $@ -- $(filter-out $(CC_FLAGS_LTO), $(oot_bindgen_c_flags)) \
		-fno-builtin -D__BINDGEN__ -DMODULE

$(obj)/rust-out-of-tree/bindings_generated.rs: $(src)/rust-out-of-tree/bindings_helper.h \
    $(src)/rust-out-of-tree/bindgen_parameters FORCE
	$(call if_changed_dep,oot_bindgen)

targets += rust-out-of-tree/bindings_generated.rs
