// SPDX-License-Identifier: GPL-2.0

#include <linux/seq_file_net.h>

__oot_helper struct net *oot_seq_file_net(struct seq_file *seq)
{
	return seq_file_net(seq);
}

__oot_helper struct net *oot_seq_file_single_net(struct seq_file *seq)
{
	return seq_file_single_net(seq);
}
