-- For each user, and each organisation, whose entry in the queue was delivered: the next one of his lane, or of the next
-- of its people's, goes to the end of the queue.
-- KEYS: queue, entries in lanes, heads, organisations. ARGV: group, what a lane's key begins with, what that of an
-- organisation's seats, that of its people, how many users and organisations at most, the weight of an organisation; of
-- those that have another: organisation, weight, ...
-- Answers how many were moved. It costs two questions where nobody waits in a lane.
-- include queue/delivered
-- include queue/seats
if redis.call('EXISTS', KEYS[3], KEYS[4]) == 0 then
    -- In no lane, as nobody of theirs has a head: a hand has been here, and they are let through one by one.
    local lost = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
    if lost then
        redis.call('XADD', KEYS[1], '*', unpack(lost[2]))
        redis.call('XDEL', KEYS[2], lost[1])
    end
    return lost and 1 or 0
end
local last = delivered(KEYS[1], ARGV[1])
local to = last == math.huge and '+inf' or string.format('%.3f', last)
local moved = 0
for _, user in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', to, 'LIMIT', 0, ARGV[5])) do
    local lane, found = ARGV[2] .. user, nil
    repeat
        local id = redis.call('LPOP', lane)
        found = id and redis.call('XRANGE', KEYS[2], id, id)[1]
    until found or not id
    if found then
        local id = redis.call('XADD', KEYS[1], '*', unpack(found[2]))
        redis.call('XDEL', KEYS[2], found[1])
        redis.call('ZADD', KEYS[3], score(id), user)
        moved = moved + 1
    else
        redis.call('ZREM', KEYS[3], user)
    end
end
local names, weights = {lanes = ARGV[2], seats = ARGV[3], people = ARGV[4]}, {}
for a = 7, #ARGV, 2 do
    weights[ARGV[a]] = ARGV[a + 1]
end
for _, org in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', to, 'LIMIT', 0, ARGV[5])) do
    vacate(names, org, last)
    moved = moved + fill(names, KEYS[1], KEYS[2], org, tonumber(weights[org] or ARGV[6]))
    note(names, KEYS[4], org)
end
return moved
