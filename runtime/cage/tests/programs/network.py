"""Sockets of every kind, within one cage. Prints what it saw; all times are logical."""
import array, os, selectors, socket, struct, threading, time

def all_of(s):
    parts = b""
    while part := s.recv(100):
        parts += part
    return parts

def crowd():
    """More clients than the listener has room for."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(2)
    answers = []
    def client(i):
        c = socket.create_connection(server.getsockname())
        c.sendall(b"m%d" % i)
        c.shutdown(socket.SHUT_WR)
        answers.append((i, all_of(c), c.getsockname()[1]))
    clients = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    [t.start() for t in clients]
    for _ in clients:
        c, _ = server.accept()
        c.sendall(all_of(c) * 2)
        c.close()
    [t.join() for t in clients]
    print("crowd", server.getsockname(), answers)

def stream():
    server = socket.socket()
    server.bind(("127.0.0.1", 8080))
    server.listen()
    c = socket.create_connection(("127.0.0.1", 8080))
    d, peer = server.accept()
    for i in range(5):
        c.send(b"x%d" % i)
    time.sleep(0.001)
    print("small writes", d.recv(100), peer)
    got = []
    def reader():
        total = 0
        while total < 5_000_000:
            total += len(d.recv(65536))
        got.append(total)
    t = threading.Thread(target=reader)
    t.start()
    c.sendall(b"z" * 5_000_000)
    t.join()
    print("large write", got)
    c.settimeout(0.7)
    begun = time.monotonic()
    try:
        c.recv(1)
    except TimeoutError:
        print("timeout", round(time.monotonic() - begun, 3))
    c.settimeout(None)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 2, 0))
    begun = time.monotonic()
    try:
        c.recv(1)
    except BlockingIOError:
        print("receive time limit", round(time.monotonic() - begun, 3))
    c.setblocking(False)
    sent = 0
    try:
        while True:
            sent += c.send(b"y" * 10_000)
    except BlockingIOError:
        print("until full", sent)
    print("options", d.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 20), d.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
    c.close()
    print("rest", len(all_of(d)) == sent)

def elsewhere():
    for address in [("127.0.0.1", 9), ("192.0.2.1", 80)]:
        try:
            socket.create_connection(address)
        except OSError as e:
            print("elsewhere", address, e)

def datagrams():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(("127.0.0.1", 5353))
    v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    v.sendto(b"dg", ("127.0.0.1", 5353))
    print("udp", u.recvfrom(10))
    six = socket.socket(socket.AF_INET6)
    six.bind(("::1", 0))
    six.listen()
    q = socket.create_connection(six.getsockname()[:2])
    z, _ = six.accept()
    q.sendall(b"six")
    print("ipv6", z.recv(3, socket.MSG_WAITALL), q.getsockname())

def local():
    a, b = socket.socketpair()
    reading, writing = os.pipe()
    socket.send_fds(a, [b"fd"], [writing])
    message = socket.recv_fds(b, 10, 2)
    os.write(message[1][0], b"through a passed descriptor")
    print("descriptor", os.read(reading, 100))
    named = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    named.bind("")
    print("autobind", named.getsockname())
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("/tmp/socket")
    listener.listen(0)
    def client(i):
        c = socket.socket(socket.AF_UNIX)
        c.connect("/tmp/socket")
        c.sendall(b"%d" % i)
    clients = [threading.Thread(target=client, args=(i,)) for i in range(5)]
    [t.start() for t in clients]
    print("unix crowd", [listener.accept()[0].recv(5) for _ in clients])
    [t.join() for t in clients]
    a.sendall(b"ab")
    threading.Thread(target=lambda: (time.sleep(0.1), a.sendall(b"cd"))).start()
    print("all", b.recv(4, socket.MSG_WAITALL))
    full, sink = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    threading.Thread(target=lambda: [sink.recv(10) for _ in range(50)]).start()
    for i in range(50):
        full.send(b"%d" % i)
    print("datagrams sent")

def selected():
    chosen = selectors.DefaultSelector()
    pairs = [socket.socketpair() for _ in range(6)]
    for i, (a, b) in enumerate(pairs):
        b.setblocking(False)
        chosen.register(b, selectors.EVENT_READ, i)
    def sender(i):
        time.sleep(0.01 * (i * 7 % 5))
        pairs[i][0].sendall(b"%d" % i)
    senders = [threading.Thread(target=sender, args=(i,)) for i in range(6)]
    [t.start() for t in senders]
    order = []
    while len(order) < 6:
        for key, _ in chosen.select(5):
            order.append((key.data, key.fileobj.recv(10)))
    [t.join() for t in senders]
    print("selected", order)

def eager():
    """Connections that nobody waits for, to a listener without room for them."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    clients = [socket.socket() for _ in range(6)]
    chosen = selectors.DefaultSelector()
    for i, c in enumerate(clients):
        c.setblocking(False)
        c.connect_ex(server.getsockname())
        chosen.register(c, selectors.EVENT_WRITE, i)
    threading.Thread(target=lambda: (time.sleep(1), [server.accept()[0].send(b"%d" % i) for i in range(6)])).start()
    waves = []
    while sum(map(len, waves)) < 6:
        waves.append([])
        for key, _ in chosen.select():
            waves[-1].append((key.data, key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
            chosen.unregister(key.fileobj)
    for c in clients:
        c.setblocking(True)
    print("eager", sum(waves, []), [c.recv(1) for c in clients])

for part in [crowd, stream, elsewhere, datagrams, local, selected, eager]:
    part()
