-- Queue an entry of a user: into the queue where none of his waits there, else into his lane.
-- KEYS: queue, entries in lanes, heads, the user's lane. ARGV: group, user, '1' for one that goes before his others in the
-- lane (a turn that was begun), body, what ids end with. Answers the entry's id; of one in a lane it is 'lane:' and its id
-- among those.
-- include queue/delivered
local put = redis.call('ZSCORE', KEYS[3], ARGV[2])
local behind = redis.call('EXISTS', KEYS[4]) == 1
if put and not behind then
    -- Delivered meanwhile? Who reads says so itself (advance.lua), but may have died over it.
    behind = tonumber(put) > delivered(KEYS[1], ARGV[1])
end
if not behind then
    local id = redis.call('XADD', KEYS[1], '*', 'd', ARGV[4])
    redis.call('ZADD', KEYS[3], score(id), ARGV[2])
    return id .. ARGV[5]
end
local id = redis.call('XADD', KEYS[2], '*', 'd', ARGV[4])
redis.call(ARGV[3] == '1' and 'LPUSH' or 'RPUSH', KEYS[4], id)
return 'lane:' .. id .. ARGV[5]
