-- For each user whose entry in the queue was delivered: the next one of his lane goes to the end of the queue.
-- KEYS: queue, entries in lanes, heads. ARGV: group, what a lane's key begins with, how many users at most.
-- Answers how many were moved. It costs two questions where nobody waits in a lane.
local anybody = redis.call('EXISTS', KEYS[3]) == 1
if not anybody then
    -- In no lane, as nobody of theirs has a head: a hand has been here, and they are let through one by one.
    local lost = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
    if lost then
        redis.call('XADD', KEYS[1], '*', unpack(lost[2]))
        redis.call('XDEL', KEYS[2], lost[1])
    end
    return lost and 1 or 0
end
local delivered = 0
for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local fact = {}
    for f = 1, #info, 2 do
        fact[info[f]] = info[f + 1]
    end
    if fact['name'] == ARGV[1] then
        delivered = string.match(fact['last-delivered-id'], '^%d+')
    end
end
local moved = 0
-- Several of one millisecond count as delivered with the first: a user may have two in the queue then, no more.
for _, user in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', delivered, 'LIMIT', 0, ARGV[3])) do
    local lane, found = ARGV[2] .. user, nil
    repeat
        local id = redis.call('LPOP', lane)
        found = id and redis.call('XRANGE', KEYS[2], id, id)[1]
    until found or not id
    if found then
        local id = redis.call('XADD', KEYS[1], '*', unpack(found[2]))
        redis.call('XDEL', KEYS[2], found[1])
        redis.call('ZADD', KEYS[3], string.match(id, '^%d+'), user)
        moved = moved + 1
    else
        redis.call('ZREM', KEYS[3], user)
    end
end
return moved
