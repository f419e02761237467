-- Say that a worker is ready for a while, and forget workers whose while is over. Times are of Redis's clock.
-- KEYS: live workers. ARGV: worker, valid_ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return 1
