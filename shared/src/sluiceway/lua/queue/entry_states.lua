-- Where entries are: in flight under a lease that has not run out, waiting to be delivered, or gone.
-- KEYS: queue. ARGV: group, lease_ms, entry id, ... Answers 'held', 'waiting' or 'gone' for each. An entry whose lease has
-- run out waits: whoever sweeps next takes it over. Where the group is gone nothing is in flight; what is no entry id is gone.
local states = {}
for i = 3, #ARGV do
    local id = ARGV[i]
    local state = 'gone'
    local entry = redis.pcall('XRANGE', KEYS[1], id, id)
    if not entry.err and entry[1] then
        local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
        local held = not pending.err and pending[1] and pending[1][3] < tonumber(ARGV[2])
        state = held and 'held' or 'waiting'
    end
    states[#states + 1] = state
end
return states
