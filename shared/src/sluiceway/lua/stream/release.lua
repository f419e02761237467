-- The holder gives the task up, so that nobody waits for its lease to run out.
-- KEYS: meta. ARGV: attempt.
if redis.call('HGET', KEYS[1], 'attempt') == ARGV[1] then
    redis.call('HDEL', KEYS[1], 'held')
end
return 1
