-- Renew leases, but only of entries that are still the consumer's own: a frozen worker that wakes up robs nobody.
-- KEYS: queue. ARGV: group, consumer, entry id, ... Answers the ids that are no longer the consumer's.
local lost = {}
for i = 3, #ARGV do
    local id = ARGV[i]
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    if pending[1] and pending[1][2] == ARGV[2] then
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'JUSTID')
    else
        lost[#lost + 1] = id
    end
end
return lost
