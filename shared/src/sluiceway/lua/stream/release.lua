-- The holder gives the task up, so that its successor need not wait for a heartbeat to grow old.
-- KEYS: meta. ARGV: attempt.
if redis.call('HGET', KEYS[1], 'attempt') == ARGV[1] then
    redis.call('HDEL', KEYS[1], 'holder', 'beat')
end
return 1
