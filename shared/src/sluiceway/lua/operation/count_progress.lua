-- Count one report of progress of an operation. The first one begins a window, by Redis's clock.
-- KEYS: the counter. ARGV: window_ms. Answers {reports in this window, ms until it ends}.
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
    left = tonumber(ARGV[1])
end
return {count, left}
