"""1,000 connections in mid-transfer survive the move from a director to another one with the same module, and back."""
# Needs: two guests
# Covers: src/sync src/conn/sync src/netns/receive

import peer  # in the second guest, to the end
import failover_lab

failover_lab.main()
