-- KEYS: meta. Answers the task's status, or nothing: one of many calls in a round trip.
return redis.call('HGET', KEYS[1], 'status')
