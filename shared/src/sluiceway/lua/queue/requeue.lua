-- Release entries: each is in the queue again at once, as delivered once less, and the old entry is gone.
-- KEYS: queue. ARGV: group, consumer, '1' for a consumer that leaves: then it is all that the consumer has, and it is
-- forgotten; else entry id, ... Answers how many were released.
local leaves, ids = ARGV[3] == '1', {}
for i = 4, #ARGV do
    ids[#ids + 1] = ARGV[i]
end
if leaves then
    local all = redis.call('XPENDING', KEYS[1], ARGV[1])[1]
    for _, pending in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', math.max(all, 1), ARGV[2])) do
        ids[#ids + 1] = pending[1]
    end
end
local count = 0
for _, id in ipairs(ids) do
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
if leaves then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
return count
