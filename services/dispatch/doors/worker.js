self.addEventListener("push", (event) => {
  let message = {};
  try { message = event.data.json(); } catch (error) { message = { title: event.data ? event.data.text() : "" }; }
  const options = {
    body: message.body, icon: message.icon, image: message.image, tag: message.message_id,
    data: { link: message.link }
  };
  event.waitUntil(self.registration.showNotification(message.title || "", options));
});
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const link = event.notification.data && event.notification.data.link;
  if (link) event.waitUntil(self.clients.openWindow(link));
});
