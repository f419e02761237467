-- The writer has finished its step and lets go: the task waits for its operations.
-- KEYS: meta. ARGV: attempt, then field, value, ... Answers 'ok', 'fenced' or 'lost'.
local known = redis.call('HMGET', KEYS[1], 'attempt', 'status')
if not known[1] then
    return 'lost'
end
if known[1] ~= ARGV[1] or known[2] ~= 'running' then
    return 'fenced'
end
redis.call('HSET', KEYS[1], 'status', 'waiting', unpack(ARGV, 2))
redis.call('HDEL', KEYS[1], 'holder', 'beat', 'batch')
return 'ok'
