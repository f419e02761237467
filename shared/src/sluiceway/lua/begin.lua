-- Make `attempt` the writer of the stream. From here on every earlier attempt is fenced.
-- KEYS: meta, events. ARGV: attempt, holder, ttl_ms, field, value, ...
-- Answers {'ok', cancel or '', id of the last entry or '', void or ''}, {'fenced'} or {'ended'}.
local known = redis.call('HMGET', KEYS[1], 'attempt', 'status', 'cancel', 'void')
local status = known[2]
if status == 'completed' or status == 'failed' or status == 'cancelled' then
    return {'ended'}
end
if known[1] and tonumber(known[1]) >= tonumber(ARGV[1]) then
    return {'fenced'}
end
local now = redis.call('TIME')
local beat = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('HSET', KEYS[1], 'attempt', ARGV[1], 'holder', ARGV[2], 'status', 'running', 'beat', beat)
redis.call('HDEL', KEYS[1], 'batch')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
return {'ok', known[3] or '', last[1] and last[1][1] or '', known[4] or ''}
