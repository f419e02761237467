-- Take over entries whose lease ran out, and forget consumers that are long gone and hold nothing.
-- KEYS: queue. ARGV: group, consumer, lease_ms, count, gone_ms.
-- Answers a list of {entry id, fields, deliveries}.
-- One XAUTOCLAIM looks at ten entries for each that it may take: behind many leases that are alive it would never see
-- the dead ones, so it goes on from its cursor.
local answer, cursor = {}, '0-0'
repeat
    local page = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], cursor, 'COUNT', ARGV[4] - #answer)
    cursor = page[1]
    for _, entry in ipairs(page[2]) do
        local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
        answer[#answer + 1] = {entry[1], entry[2], pending[1] and pending[1][4] or 1}
    end
until cursor == '0-0' or #answer >= tonumber(ARGV[4])
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local fact = {}
    for f = 1, #info, 2 do
        fact[info[f]] = info[f + 1]
    end
    if fact['name'] ~= ARGV[2] and fact['pending'] == 0 and fact['idle'] > tonumber(ARGV[5]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], fact['name'])
    end
end
return answer
