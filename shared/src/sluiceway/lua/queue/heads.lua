-- What waits in a queue for a first delivery.
-- KEYS: queue. ARGV: group, how many at most. Answers the id of the newest entry that ever was in the queue, and the ids of
-- the oldest entries that no consumer had. Where the group is gone that is all of them.
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if info.err then
    return {'0-0'}
end
local answer, delivered = {'0-0'}, '0-0'
for f = 1, #info, 2 do
    if info[f] == 'last-generated-id' then
        answer[1] = info[f + 1]
    end
end
for _, told in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local fact = {}
    for f = 1, #told, 2 do
        fact[told[f]] = told[f + 1]
    end
    if fact['name'] == ARGV[1] then
        delivered = fact['last-delivered-id']
    end
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. delivered, '+', 'COUNT', ARGV[2])) do
    answer[#answer + 1] = entry[1]
end
return answer
