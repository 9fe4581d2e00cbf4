/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The functions of ip_vs, written in Rust, that its companion modules call.
 *
 * A companion is a module of a few lines. It needs other modules that ip_vs does
 * not need, as the module of the same name does in C, and is loaded by the same
 * requests. To add one, add its file here, its functions to exports.c, and its
 * name to Kbuild and to COMPANIONS in the Makefile.
 */
#ifndef _IP_VS_COMPANION_H
#define _IP_VS_COMPANION_H

#include <linux/types.h>

struct sk_buff;
struct xt_action_param;

bool ip_vs_xt_match(const struct sk_buff *skb, struct xt_action_param *par);

#endif
