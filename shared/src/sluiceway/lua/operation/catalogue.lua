-- What living runners offer. KEYS: catalogue. Answers runner, json, runner, json, ...
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local known, answer = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #known, 2 do
    local expiry, json = string.match(known[i + 1], '^(%d+) (.*)$')
    -- What nobody here has written is nothing: an error would end every process that looks.
    if expiry and tonumber(expiry) >= now then
        answer[#answer + 1] = known[i]
        answer[#answer + 1] = json
    end
end
return answer
