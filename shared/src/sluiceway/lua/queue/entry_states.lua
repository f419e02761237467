-- Where entries are: in flight under a lease that has not run out, waiting to be delivered, or gone.
-- KEYS: queue, entries in lanes. ARGV: group, lease_ms, entry id, ... Answers for each {'held', 'waiting' or 'gone', the consumer that has it
-- in flight or '', for how many ms its lease was not renewed}. An entry whose lease has run out waits: whoever sweeps next
-- takes it over; what is in a lane waits, too. Where the group is gone nothing is in flight; what is no entry id is gone.
local states = {}
for i = 3, #ARGV do
    local id, state = ARGV[i], 'gone'
    local of_lane = string.match(id, '^lane:(.+)')
    local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    local lease = not pending.err and pending[1] or {id, '', 0}
    if lease[2] ~= '' and lease[3] < tonumber(ARGV[2]) then
        state = 'held'
    else
        -- The dearer question: a stream is searched entry by entry, leases are not.
        local entry = redis.pcall('XRANGE', of_lane and KEYS[2] or KEYS[1], of_lane or id, of_lane or id)
        if not entry.err and entry[1] then
            state = 'waiting'
        end
    end
    states[#states + 1] = {state, lease[2], lease[3]}
end
return states
