-- Queue an entry of an organisation's user: into the queue where the organisation has a free seat, and nobody of it waits
-- for one, else into the user's lane.
-- KEYS: queue, entries in lanes, organisations. ARGV: group, organisation, its weight, user, '1' for one that goes before
-- his others in the lane (a turn that was begun), body, what ids end with, what a lane's key begins with, what that of an
-- organisation's seats, that of its people.
-- Answers the entry's id; of one in a lane it is 'lane:' and its id among those.
-- include queue/delivered
-- include queue/seats
local org, weight, user = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local names = {lanes = ARGV[8], seats = ARGV[9], people = ARGV[10]}
local lane, seats, people = names.lanes .. user, names.seats .. org, names.people .. org
if redis.call('EXISTS', seats) == 1 then
    -- Who reads gives up seats (advance.lua), but may have died over it, or be of an older version.
    vacate(names, org, delivered(KEYS[1], ARGV[1]))
end
local id
if redis.call('LLEN', seats) < weight and redis.call('EXISTS', people, lane) == 0 then
    id = redis.call('XADD', KEYS[1], '*', 'd', ARGV[6])
    sit(names, org, id, user)
else
    id = redis.call('XADD', KEYS[2], '*', 'd', ARGV[6])
    redis.call(ARGV[5] == '1' and 'LPUSH' or 'RPUSH', lane, id)
    id = 'lane:' .. id
    local sits = false
    for _, taken in ipairs(redis.call('LRANGE', seats, 0, -1)) do
        sits = sits or string.match(taken, ' (.*)$') == user
    end
    if not sits and not redis.call('LPOS', people, user) then
        redis.call('RPUSH', people, user)
    end
    fill(names, KEYS[1], KEYS[2], org, weight)
end
note(names, KEYS[3], org)
return id .. ARGV[7]
