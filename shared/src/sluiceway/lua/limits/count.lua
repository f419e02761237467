-- Count one event of a sliding window, if the limit allows it: the events of this window of the clock, and of the one
-- before as much as of it is still within the last window's length, as if they had come evenly.
-- KEYS: counter. ARGV: limit, window_ms, 'look' or nothing: whether it is only asked, and nothing counted.
-- Answers {1, how many are left, ms until this window of the clock ends}, or {0, 0, ms until one more is allowed}.
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local number = math.floor(now / window)
local passed = now - number * window

local known = redis.call('HMGET', KEYS[1], 'n', 'c', 'p')
local count, before = tonumber(known[2] or 0), tonumber(known[3] or 0)
local age = number - tonumber(known[1] or number)
if age == 1 then
    count, before = 0, count
elseif age ~= 0 then
    count, before = 0, 0
end

local used = count + before * (window - passed) / window
if used + 1 > limit then
    if count + 1 > limit then
        -- Not before the next window, in which these are the ones before.
        return {0, 0, math.ceil(window - passed + window * math.max(0, 1 - (limit - 1) / count))}
    end
    return {0, 0, math.ceil(window * (1 - (limit - count - 1) / before) - passed)}
end
if ARGV[3] == 'look' then
    return {1, math.floor(limit - used), window - passed}
end
redis.call('HSET', KEYS[1], 'n', number, 'c', count + 1, 'p', before)
redis.call('PEXPIRE', KEYS[1], 2 * window)
return {1, math.floor(limit - used - 1), window - passed}
