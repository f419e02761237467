-- The model's server said that it was asked too often: nobody asks for a while, and then they go one by one (take.lua).
-- KEYS: budget, line, tickets. ARGV: ticket, arrived (µs), tokens, the slice in which the call was counted, pause_ms,
-- window_ms, grace_ms, 1 where the call comes again: it keeps its place, before all that came after it.
local ticket, arrived, tokens, slice = ARGV[1], ARGV[2], ARGV[3], 'k' .. ARGV[4]
local pause, window, grace = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'paused', 'free')

local function keep(key, ms)
    redis.call('PEXPIRE', key, string.format('%.0f', math.max(ms, redis.call('PTTL', key))))
end

local paused = math.max(tonumber(known[1] or 0), now + pause)
local free = math.max(tonumber(known[2] or 0), paused)
redis.call('HSET', KEYS[1], 'paused', string.format('%.0f', paused), 'free', string.format('%.0f', free))
if redis.call('HEXISTS', KEYS[1], slice) == 1 then
    redis.call('HINCRBY', KEYS[1], slice, '-' .. tokens)
end
keep(KEYS[1], paused - now + 2 * window)
if ARGV[8] == '1' then
    redis.call('ZADD', KEYS[2], arrived, ticket)
    redis.call('HSET', KEYS[3], ticket, tokens .. ' ' .. string.format('%.0f', paused + grace))
    keep(KEYS[2], paused - now + grace + window)
    keep(KEYS[3], paused - now + grace + window)
end
return 'ok'
