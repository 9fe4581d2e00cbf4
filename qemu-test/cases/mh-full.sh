# mh with more dests than its table has buckets (4,093): the service cannot take
# it up, or goes on with the table that it has, and all clients that can stay
# with their dests. One that is removed and comes back has its clients again.
FAMILY=4
. ./swallow.sh
observe "more dests than buckets" agent mh_full "$UPLINK" "$VIP" "$MODULE"
