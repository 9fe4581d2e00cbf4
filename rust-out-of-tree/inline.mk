# SPDX-License-Identifier: GPL-2.0

# Inlines the C helpers, ours and the kernel's, into the Rust code that calls
# them, as CONFIG_RUST_INLINE_HELPERS does for kernels built with clang: clang
# and rustc of the same LLVM version emit bitcode, which is linked before code
# generation. This also works for a kernel built with gcc, with its flags
# translated to clang's. With INLINE_HELPERS=0 the helpers stay calls.
#
# Instructions per packet over its whole path, UDP over IPv4, with calls and
# with inlining (stock 7.3.4, when this file was added): DR established 7,033
# and 6,913, NAT established 7,422 and 7,258, NAT reply 8,300 and 8,180, DR with
# a new conn 8,345 and 8,025. This saves at least a tenth of the instructions of
# the module itself.

oot_llvm := $(CONFIG_RUSTC_LLVM_MAJOR_VERSION)
oot_tool = $(firstword $(foreach t,$(1) $(1)-$(oot_llvm),$(shell \
	$(t) --version 2>/dev/null | grep -q 'version $(oot_llvm)\.' && echo $(t))))

# Header packages lack the kernel's rust/helpers/; the full source has it.
# Sanitizers, KCOV, CFI and LTO would process the code twice. gcc plugins would
# not process it at all.
oot_inline_not := $(CONFIG_KASAN)$(CONFIG_KCSAN)$(CONFIG_KMSAN)$(CONFIG_KCOV)$(CONFIG_CFI)$(CONFIG_LTO)$(CONFIG_GCC_PLUGINS)
ifeq ($(CONFIG_X86_64)$(oot_inline_not),y)
ifneq ($(wildcard $(srctree)/rust/helpers/helpers.c),)
oot_clang := $(call oot_tool,$(if $(CONFIG_CC_IS_CLANG),$(CC),clang))
oot_llvm_link := $(call oot_tool,$(or $(LLVM_LINK),llvm-link))
endif
endif
INLINE_HELPERS ?= $(if $(oot_clang),$(if $(oot_llvm_link),1,0),0)

ifeq ($(INLINE_HELPERS),0)
ip_vs-y += rust-out-of-tree/helpers/helpers.o

# Only Rust code calls the helpers, with bindgen's prototypes, as in the kernel.
CFLAGS_rust-out-of-tree/helpers/helpers.o := -Wno-missing-prototypes -Wno-missing-declarations
else

ifeq ($(and $(oot_clang),$(oot_llvm_link)),)
$(error ip_vs: INLINE_HELPERS=$(INLINE_HELPERS) needs clang and llvm-link $(oot_llvm), the kernel's rust/helpers/, and x86-64 without sanitizers, CFI, LTO or gcc plugins)
endif

ifdef CONFIG_CC_IS_CLANG
oot_clang_flags = $(filter-out $(CC_FLAGS_FTRACE), $(1))
else
# Replacements for the flags that bindgen.mk filters out.
oot_clang_add := $(oot_bindgen_target) -mstack-alignment=8 -fstrict-flex-arrays=3 \
	$(if $(CONFIG_MITIGATION_RETPOLINE),-mretpoline-external-thunk -mindirect-branch-cs-prefix) \
	$(if $(CONFIG_MITIGATION_RETHUNK),-mfunction-return=thunk-extern) \
	$(if $(CONFIG_UBSAN_BOUNDS_STRICT),-fsanitize=array-bounds) \
	$(if $(CONFIG_STACKPROTECTOR),$(filter -mstack-protector-guard%,$(KBUILD_CFLAGS))) \
	$(if $(CONFIG_FUNCTION_ALIGNMENT),-falign-functions=$(CONFIG_FUNCTION_ALIGNMENT))
oot_clang_flags = $(filter-out $(oot_bindgen_skip) $(CC_FLAGS_FTRACE), $(1)) $(oot_clang_add)
endif

# No calls of __fentry__: Rust functions have none, and for C functions the
# kernel may rely on gcc to list them. No debug info from clang: only rustc's is
# kept. Stack canaries are lost too: LLVM adds none to a Rust function for code
# inlined into it.
quiet_cmd_oot_helpers_bc = HELPER [M] $@
      cmd_oot_helpers_bc = \
	$(oot_clang) -include $(src)/rust-out-of-tree/helpers/clang.h \
		$(call oot_clang_flags,$(c_flags)) -w -g0 -c $< -emit-llvm -o $@

oot_helpers_bc := $(addprefix $(obj)/rust-out-of-tree/helpers/,helpers.bc kernel_helpers.bc)

$(oot_helpers_bc): private part-of-module := y
$(oot_helpers_bc): private __modname := ip_vs
$(obj)/rust-out-of-tree/helpers/helpers.bc: $(src)/rust-out-of-tree/helpers/helpers.c FORCE
	$(call if_changed_dep,oot_helpers_bc)
$(obj)/rust-out-of-tree/helpers/kernel_helpers.bc: $(srctree)/rust/helpers/helpers.c FORCE
	$(call if_changed_dep,oot_helpers_bc)

targets += $(patsubst $(obj)/%,%,$(oot_helpers_bc))

# Replaces the command of scripts/Makefile.build. Unreachable code becomes a
# trap, as with rustc; objtool needs it.
$(obj)/src/ip_vs.o: $(oot_helpers_bc)
$(obj)/src/ip_vs.o: private cmd_rustc_o_rs = $(rust_common_cmd) --emit=llvm-bc=$(@:.o=.bc) $< ; \
	$(oot_llvm_link) --internalize --suppress-warnings $(@:.o=.bc) $(oot_helpers_bc) -o $(@:.o=.m.bc) ; \
	$(oot_clang) $(call oot_clang_flags,$(CLANG_FLAGS) $(KBUILD_CFLAGS)) -w -Qunused-arguments \
		-mllvm -trap-unreachable -mllvm -no-trap-after-noreturn \
		-c $(@:.o=.m.bc) -o $@ \
	$(cmd_objtool)

endif
