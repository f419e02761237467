-- End a task: compare-and-set of its status from a live one, and the last entries of its stream with it.
-- KEYS: meta, events. ARGV: attempt, status, retention_ms, json of the start chunk, proof, then type, json for each
-- entry. What shows that the stream has all that was told of it, so that these entries may follow: the writer's last
-- batch as proof; or '', and the replication id is still that of its writing (see begin.lua). 'rebuild': the entries are
-- the whole of it, and replace what is there.
-- Answers {'ok', id of the terminal entry}, {'second', the status that stands} or {'lost'} (Redis forgot the task or,
-- perhaps, some of its stream).
local known = redis.call('HMGET', KEYS[1], 'attempt', 'status', 'batch', 'epoch')
local status, proof = known[2], ARGV[5]
if not status then
    return {'lost'}
end
if status == 'completed' or status == 'failed' or status == 'cancelled' then
    return {'second', status}
end
local before, attempt = tonumber(known[1] or 0), tonumber(ARGV[1])
if proof == 'rebuild' then
    redis.call('DEL', KEYS[2])
    redis.call('HDEL', KEYS[1], 'void')
elseif proof ~= '' then
    if before < attempt or (before == attempt and tonumber(known[3] or 0) ~= tonumber(proof)) then
        return {'lost'}
    end
elseif known[4] and known[4] ~= (string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or '') then
    return {'lost'}
end
attempt = math.max(before, attempt)
local id = string.format('%d-*', attempt)
if redis.call('EXISTS', KEYS[2]) == 0 then
    if attempt > 0 and proof ~= 'rebuild' then
        return {'lost'}
    end
    redis.call('XADD', KEYS[2], id, 't', 'start', 'd', ARGV[4])
end
local last = ''
for i = 6, #ARGV, 2 do
    last = redis.call('XADD', KEYS[2], id, 't', ARGV[i], 'd', ARGV[i + 1])
end
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'attempt', attempt, 'terminal', last)
redis.call('HDEL', KEYS[1], 'held', 'holder', 'batch', 'cancel')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {'ok', last}
