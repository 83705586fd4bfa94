// The bench application on the reference server with Bun's engine; the port is the last argument.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";

const engine = new Engine({ path: "/socket.io/" });
const io = new Server();
io.bind(engine);
io.on("connection", (socket) => {
  socket.on("echo", (value) => socket.emit("echo", value));
  socket.on("ackme", (value, acknowledge) => acknowledge(value));
  socket.on("joinRoom", ({ roomId }, acknowledge) => {
    socket.join(roomId);
    acknowledge(true);
  });
  socket.on("sendMessage", ({ roomId, message }) => io.to(roomId).emit("newMessage", message));
});
export default { port: Number(process.argv.at(-1)), hostname: "127.0.0.1", ...engine.handler() };
