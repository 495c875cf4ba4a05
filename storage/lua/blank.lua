-- blank: what a delivery says is replaced, unless it is gone meanwhile.
-- KEYS delivery
-- ARGV body
if redis.call("EXISTS", KEYS[1]) == 1 then redis.call("HSET", KEYS[1], "body", ARGV[1]) end
