# mh with more dests than its table has buckets (4,093): a change to mh is refused,
# and a service that has mh keeps its table. Clients stay with their dests where
# possible. A dest that is removed and added again gets its clients back.
#
# Covers: src/sched/mh
FAMILY=4
. ./swallow.sh
observe "more dests than buckets" agent mh_full "$UPLINK" "$VIP" "$MODULE"
