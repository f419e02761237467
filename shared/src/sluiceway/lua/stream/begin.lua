-- Make `attempt` the writer of the stream. From here on every earlier attempt is fenced.
-- KEYS: meta, events. ARGV: attempt, entry, ttl_ms, rebuild ('1': without what the stream has), field, value, ...
-- The field `held` has the queue entry under whose lease the attempt writes; '' for one that has none.
-- Answers {'ok', cancel or '', id of the last entry or '', retracted ranges or '', '1' when entries were dropped, how far
-- the model's answer was shown or ''}, {'fenced'} or {'ended'}.
-- The field `epoch` has the server's replication id, which is another one after a failover or a restart. Entries of
-- another replication id are dropped: followers may have seen more than this server was told of, under ids that must not come again.
local known = redis.call('HMGET', KEYS[1], 'attempt', 'status', 'cancel', 'void', 'epoch', 'reached')
local status = known[2]
if status == 'completed' or status == 'failed' or status == 'cancelled' then
    return {'ended'}
end
if known[1] and tonumber(known[1]) >= tonumber(ARGV[1]) then
    return {'fenced'}
end
local epoch = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
local void, dropped = known[4] or '', ''
if (ARGV[4] == '1' or (known[5] and known[5] ~= epoch)) and redis.call('DEL', KEYS[2]) == 1 then
    redis.call('HDEL', KEYS[1], 'void')
    void, dropped = '', '1'
end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('HSET', KEYS[1], 'attempt', ARGV[1], 'status', 'running', 'epoch', epoch)
redis.call('HDEL', KEYS[1], 'held', 'holder', 'beat', 'batch', 'quiet')
if ARGV[2] ~= '' then
    redis.call('HSET', KEYS[1], 'held', ARGV[2])
end
if ARGV[4] == '1' then
    -- Until it waits or ends again, the stream may lack what Postgres has.
    redis.call('HSET', KEYS[1], 'holder', 'restored')
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
return {'ok', known[3] or '', last[1] and last[1][1] or '', void, dropped, known[6] or ''}
