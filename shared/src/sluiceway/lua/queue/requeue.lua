-- Release entries: each is in the queue again at once, as delivered once less, and the old entry is gone.
-- KEYS: queue. ARGV: group, consumer, entry id, ... Answers how many were released.
local count = 0
for i = 3, #ARGV do
    local id = ARGV[i]
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    if pending[1] and pending[1][2] == ARGV[2] then
        local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
        if entry then
            local fields, before = {}, 0
            for f = 1, #entry[2], 2 do
                if entry[2][f] == 'n' then
                    before = tonumber(entry[2][f + 1])
                else
                    fields[#fields + 1] = entry[2][f]
                    fields[#fields + 1] = entry[2][f + 1]
                end
            end
            redis.call('XADD', KEYS[1], '*', 'n', before + pending[1][4] - 1, unpack(fields))
            count = count + 1
        end
        redis.call('XACK', KEYS[1], ARGV[1], id)
        redis.call('XDEL', KEYS[1], id)
    end
end
return count
