"""1,000 connections in mid-transfer survive the move from a director to C's, and back."""
# Needs: two guests, C in the second
# Covers: src/sync src/conn/sync src/netns/receive

import peer  # in the second guest, to the end
import failover_lab

failover_lab.main()
