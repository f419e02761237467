-- Append what an operation has to say to its task's stream, while the task waits for its operations.
-- KEYS: meta, events. ARGV: operation, number ('' for none), final ('1' or ''), ttl_ms, then type, json for each entry.
-- Answers 'ok' (also where this number was shown before), 'old' (a later one was), 'ended' (its end was shown, or the
-- task has ended), 'refused' (the task does not wait: its next step has begun) or 'lost' (Redis forgot the task or,
-- perhaps, some of its stream: see the replication id in begin.lua).
local shown = 'op:' .. ARGV[1]
local known = redis.call('HMGET', KEYS[1], 'status', 'attempt', shown, 'epoch')
local status = known[1]
if not status then
    return 'lost'
end
if known[3] == 'end' or status == 'completed' or status == 'failed' or status == 'cancelled' then
    return 'ended'
end
if status ~= 'waiting' then
    return 'refused'
end
if known[4] and known[4] ~= (string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or '') then
    return 'lost'
end
local behind = ARGV[2] ~= '' and known[3] and tonumber(known[3]) - tonumber(ARGV[2]) or -1
if behind >= 0 then
    return behind > 0 and 'old' or 'ok'
end
for i = 5, #ARGV, 2 do
    redis.call('XADD', KEYS[2], known[2] .. '-*', 't', ARGV[i], 'd', ARGV[i + 1])
end
if ARGV[3] == '1' then
    redis.call('HSET', KEYS[1], shown, 'end')
elseif ARGV[2] ~= '' then
    redis.call('HSET', KEYS[1], shown, ARGV[2])
end
if redis.call('PTTL', KEYS[2]) < 0 then
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return 'ok'
