-- Say that the publisher of a stream is alive, though it has nothing to publish.
-- KEYS: meta, published, events of slot 0, events of slot 1.
-- ARGV: live_ttl_ms, generation, after how many ms the registry has to hear of the stream.
-- Answers {'ok', the time in ms when the registry has to hear of it, else 0} or {'closed'}.
local known = redis.call('HMGET', KEYS[1], 'generation', 'status', 'slot', 'listed')
if known[1] ~= ARGV[2] or known[2] ~= 'open' then
    return {'closed'}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'active', string.format('%.0f', now))
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[3 + known[3]]}) do
    redis.call('PEXPIRE', key, ARGV[1])
end
local due = '0'
if now - known[4] >= tonumber(ARGV[3]) then
    due = string.format('%.0f', now)
    redis.call('HSET', KEYS[1], 'listed', due)
end
return {'ok', due}
